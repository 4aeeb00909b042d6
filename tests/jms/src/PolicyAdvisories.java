import java.util.List;
import javax.jms.DeliveryMode;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQMessageConsumer;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;
import org.apache.activemq.command.ConsumerInfo;
import org.apache.activemq.command.ProducerInfo;

/** The advisories that a policy asks for. */
final class PolicyAdvisories extends ConfiguredTest {
    @Override
    Broker.Configuration configuration() {
        String all = """
                advisoryForConsumed="true" advisoryForDelivery="true" advisoryForDiscardingMessages="true"
                advisoryForFastProducers="true" advisoryForSlowConsumers="true" advisoryWhenFull="true"
                sendAdvisoryIfNoConsumers="true\"""";
        // A word of ActiveMQ 6.
        String dispatched = Broker.isActiveMq() ? "" : "advisoryForDispatched=\"true\"";
        return Broker.Configuration.PLAIN.policies("""
                <policyEntry queue="Told.>" %1$s/>
                <policyEntry topic="Told.>" %1$s/>
                <policyEntry queue="Whole.>" %1$s includeBodyForAdvisory="true"/>
                <policyEntry queue="Full.>" memoryLimit="1" %1$s/>
                <policyEntry topic="Full.>" memoryLimit="1" %1$s/>
                <policyEntry queue="Given.>" %2$s/>
                <policyEntry topic="Given.>" %2$s/>
                <policyEntry topic="Few.>" %1$s>
                  <pendingMessageLimitStrategy><constantPendingMessageLimitStrategy limit="2"/>
                  </pendingMessageLimitStrategy>
                </policyEntry>
                """.formatted(all, dispatched)).attributes("anonymousProducerAdvisorySupport=\"true\"");
    }

    private ActiveMQQueue q(String kind) {
        return new ActiveMQQueue(kind + "." + name());
    }

    private ActiveMQTopic t(String kind) {
        return new ActiveMQTopic(kind + "." + name());
    }

    private MessageConsumer watch(String what, ActiveMQDestination of) throws Exception {
        String kind = of.isQueue() ? ".Queue." : ".Topic.";
        return auto(connect()).createConsumer(
                new ActiveMQTopic("ActiveMQ.Advisory." + what + kind + of.getPhysicalName()));
    }

    private static ActiveMQMessage advisory(MessageConsumer watched) throws Exception {
        ActiveMQMessage advisory = (ActiveMQMessage) take(watched);
        equal("Advisory", advisory.getJMSType());
        return advisory;
    }

    private static Message sent(Session session, ActiveMQDestination to, String text) throws Exception {
        Message message = session.createTextMessage(text);
        MessageProducer producer = session.createProducer(to);
        producer.send(message);
        producer.close();
        return message;
    }

    @Test
    void what_is_sent_to_a_queue_and_consumed_is_told() throws Exception {
        MessageConsumer delivered = watch("MessageDelivered", q("Told"));
        MessageConsumer consumed = watch("MessageConsumed", q("Told"));
        Session session = auto(connect());
        Message sent = sent(session, q("Told"), "x");
        told(sent, q("Told"), advisory(delivered));
        nothing(consumed);
        take(session.createConsumer(q("Told")));
        told(sent, q("Told"), advisory(consumed));
    }

    @Test
    void what_is_sent_to_a_topic_is_told_and_not_who_consumes_it() throws Exception {
        MessageConsumer delivered = watch("MessageDelivered", t("Told"));
        MessageConsumer consumed = watch("MessageConsumed", t("Told"));
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(t("Told"));
        Message sent = sent(session, t("Told"), "x");
        told(sent, t("Told"), advisory(delivered));
        take(consumer);
        nothing(consumed);
    }

    @Test
    void what_is_given_to_a_consumer_is_told_with_its_name() throws Exception {
        for (ActiveMQDestination given : List.of(q("Given"), t("Given"))) {
            MessageConsumer dispatched = watch("MessageDispatched", given);
            Session session = auto(connect());
            MessageConsumer consumer = session.createConsumer(given);
            Message sent = sent(session, given, "x");
            if (Broker.isActiveMq()) {
                nothing(dispatched);
                continue;
            }
            ActiveMQMessage advisory = advisory(dispatched);
            told(sent, given, advisory);
            equal(((ActiveMQMessageConsumer) consumer).getConsumerId().toString(),
                    advisory.getStringProperty("consumerId"));
            take(consumer);
            nothing(dispatched);
        }
    }

    @Test
    void a_full_topic_is_told() throws Exception {
        MessageConsumer full = watch("FULL", t("Full"));
        MessageConsumer fast = watch("FastProducer", t("Full"));
        MessageConsumer lagging = auto(connect()).createConsumer(option(t("Full"), "consumer.prefetchSize=1"));
        Session session = auto(connect());
        for (int n = 0; n < 2; n++) {
            sent(session, t("Full"), "" + n);
            eventually("the first is there", () -> ((ActiveMQMessageConsumer) lagging).getMessageSize() == 1);
        }
        nothing(full);
        java.util.concurrent.CompletableFuture<Void> sending = java.util.concurrent.CompletableFuture.runAsync(() -> {
            try {
                send(session, t("Full"), "2");
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
        ActiveMQMessage advisory = advisory(full);
        contains("Full", advisory.getStringProperty("usageName"));
        check(advisory.getLongProperty("usageCount") > 0, "nothing is used");
        equal(ProducerInfo.class, advisory(fast).getDataStructure().getClass());
        equal(numbers(0, 3), takeTexts(lagging, 3));
        sending.get(SOON, java.util.concurrent.TimeUnit.MILLISECONDS);
    }

    private static void told(Message sent, ActiveMQDestination at, ActiveMQMessage advisory) throws Exception {
        ActiveMQMessage about = (ActiveMQMessage) advisory.getDataStructure();
        equal(sent.getJMSMessageID(), about.getJMSMessageID());
        equal(null, about.getContent());
        equal(sent.getJMSMessageID(), advisory.getStringProperty("orignalMessageId"));
        equal(at.getQualifiedName(), advisory.getStringProperty("orignalDestination"));
    }

    @Test
    void the_body_is_told_where_the_policy_says_so() throws Exception {
        MessageConsumer delivered = watch("MessageDelivered", q("Whole"));
        sent(auto(connect()), q("Whole"), "all of it");
        ActiveMQMessage about = (ActiveMQMessage) advisory(delivered).getDataStructure();
        equal("all of it", ((TextMessage) about).getText());
    }

    @Test
    void a_message_that_nobody_hears_is_told() throws Exception {
        ActiveMQConnection connection = connect();
        MessageConsumer nobody = auto(connection).createConsumer(
                new ActiveMQTopic("ActiveMQ.Advisory.NoConsumer.Topic." + t("Told").getPhysicalName()));
        Session session = auto(connect());
        Message sent = session.createTextMessage("x");
        MessageProducer producer = session.createProducer(t("Told"));
        producer.send(sent, DeliveryMode.PERSISTENT, 4, 0);
        nothing(nobody);
        producer.send(sent, DeliveryMode.NON_PERSISTENT, 4, 0);
        equal(sent.getJMSMessageID(), take(nobody).getJMSMessageID());
    }

    @Test
    void what_is_discarded_of_a_slow_consumer_is_told_with_the_count() throws Exception {
        MessageConsumer discarded = watch("MessageDiscarded", t("Few"));
        ActiveMQMessageConsumer slow = (ActiveMQMessageConsumer) auto(connect()).createConsumer(
                option(t("Few"), "consumer.prefetchSize=1"));
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(t("Few"));
        Message[] sent = new Message[5];
        for (int i = 0; i < sent.length; i++) {
            sent[i] = session.createTextMessage("" + i);
            producer.send(sent[i]);
        }
        for (int i = 1; i <= 2; i++) {
            ActiveMQMessage advisory = advisory(discarded);
            told(sent[i], t("Few"), advisory);
            equal(i, advisory.getIntProperty("discardedCount"));
            equal(slow.getConsumerId().toString(), advisory.getStringProperty("consumerId"));
        }
        nothing(discarded);
    }

    @Test
    void a_slow_topic_consumer_is_told() throws Exception {
        MessageConsumer slows = watch("SlowConsumer", t("Told"));
        ActiveMQMessageConsumer slow = (ActiveMQMessageConsumer) auto(connect()).createConsumer(
                option(t("Told"), "consumer.prefetchSize=2"));
        sendNumbers(auto(connect()), t("Told"), 10);
        ActiveMQMessage advisory = advisory(slows);
        equal(slow.getConsumerId(), ((ConsumerInfo) advisory.getDataStructure()).getConsumerId());
        equal(slow.getConsumerId().toString(), advisory.getStringProperty("consumerId"));
        nothing(slows);
    }

    @Test
    void a_full_queue_and_its_producer_are_told() throws Exception {
        MessageConsumer full = watch("FULL", q("Full"));
        MessageConsumer fast = watch("FastProducer", q("Full"));
        Session session = auto(connect());
        sent(session, q("Full"), "filler");
        java.util.concurrent.CompletableFuture<Void> sending = java.util.concurrent.CompletableFuture.runAsync(() -> {
            try {
                sent(session, q("Full"), "waits");
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
        ActiveMQMessage advisory = advisory(full);
        contains("memory", advisory.getStringProperty("usageName"));
        check(advisory.getLongProperty("usageCount") > 0, "no usage count");
        ActiveMQMessage about = advisory(fast);
        equal(about.getStringProperty("producerId"),
                ((ProducerInfo) about.getDataStructure()).getProducerId().toString());
        equal(List.of("filler", "waits"), takeTexts(auto(connect()).createConsumer(q("Full")), 2));
        sending.get();
    }

    @Test
    void a_producer_without_destination_is_told() throws Exception {
        MessageConsumer watched = auto(connect()).createConsumer(new ActiveMQTopic("ActiveMQ.Advisory.Producer.>"));
        MessageProducer producer = auto(connect()).createProducer(null);
        Message advisory = take(watched);
        equal(new ActiveMQTopic("ActiveMQ.Advisory.Producer.Anonymous"), advisory.getJMSDestination());
        producer.send(q("Told"), auto(connect()).createTextMessage("x"), DeliveryMode.NON_PERSISTENT, 4, 0);
        drain(q("Told"));
    }
}

import java.util.List;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageFormatException;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQMessageConsumer;
import org.apache.activemq.advisory.DestinationSource;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;
import org.apache.activemq.command.ConsumerId;
import org.apache.activemq.command.ConsumerInfo;
import org.apache.activemq.command.SessionId;

/** Attributes of the broker that are not on by default. */
final class BrokerWords extends ConfiguredTest {
    @Override
    Broker.Configuration configuration() {
        return Broker.Configuration.PLAIN.attributes("""
                rejectDurableConsumers="true" allowTempAutoCreationOnSend="true"
                rollbackOnlyOnAsyncException="false" schedulerSupport="true" maxSchedulerRepeatAllowed="2"
                schedulePeriodForDestinationPurge="100"
                """).policies("""
                <policyEntry queue="Refuses.>" memoryLimit="1" sendFailIfNoSpace="true"/>
                <policyEntry queue="Narrow.>" usePrefetchExtension="false"/>
                <policyEntry queue="Idle.>" gcInactiveDestinations="true" inactiveTimeoutBeforeGC="100"/>
                <policyEntry queue="Bridged.>" gcInactiveDestinations="true" inactiveTimeoutBeforeGC="100"
                  gcWithNetworkConsumers="true"/>
                """).elements("""
                <destinationInterceptors>
                  <mirroredQueue copyMessage="true" prefix="Copy." postfix=".All"/>
                </destinationInterceptors>
                """);
    }

    private ActiveMQQueue q(String kind) {
        return new ActiveMQQueue(kind + "." + name());
    }

    @Test
    void durable_subscribers_may_be_refused() throws Exception {
        ActiveMQConnection connection = unstarted(url(""));
        connection.setClientID(name());
        Session session = auto(connection);
        JMSException refused = refused(JMSException.class, () -> session.createDurableSubscriber(topic(), "s"));
        contains("Durable Consumers are not allowed", refused.getMessage());
        MessageConsumer plain = auto(connect()).createConsumer(topic());
        send(auto(connect()), topic(), "x");
        equal("x", takeText(plain));
    }

    @Test
    void a_temporary_queue_that_is_gone_may_be_made_again_by_who_sends() throws Exception {
        ActiveMQConnection owner = connect();
        TemporaryQueue gone = auto(owner).createTemporaryQueue();
        // Such a client is not told that the queue is gone.
        Session session = auto(connect("jms.watchTopicAdvisories=false"));
        MessageProducer producer = session.createProducer(null);
        producer.send(gone, session.createTextMessage("there"));
        owner.close();
        producer.send(gone, session.createTextMessage("gone"));
    }

    @Test
    void a_transaction_of_which_a_message_was_refused_may_commit_the_rest() throws Exception {
        send(auto(connect()), q("Refuses"), "filler");
        Session session = transacted(connect());
        send(session, queue(), "other");
        MessageProducer producer = session.createProducer(q("Refuses"));
        producer.send(session.createTextMessage("refused"));
        session.commit();
        equal(List.of("other"), drain(queue()));
        equal(List.of("filler"), drain(q("Refuses")));
    }

    @Test
    void fewer_repeats_may_be_allowed() throws Exception {
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(queue());
        Message message = session.createTextMessage("many");
        message.setLongProperty("AMQ_SCHEDULED_DELAY", 1);
        message.setIntProperty("AMQ_SCHEDULED_REPEAT", 3);
        refused(MessageFormatException.class, () -> producer.send(message));
        message.setIntProperty("AMQ_SCHEDULED_REPEAT", 2);
        message.setLongProperty("AMQ_SCHEDULED_PERIOD", 1);
        producer.send(message);
        MessageConsumer consumer = session.createConsumer(queue());
        equal(List.of("many", "many", "many"), takeTexts(consumer, 3));
        nothing(consumer);
    }

    @Test
    void a_mirror_has_the_name_that_is_configured() throws Exception {
        MessageConsumer mirror = auto(connect()).createConsumer(
                new ActiveMQTopic("Copy." + queue().getPhysicalName() + ".All"));
        send(auto(connect()), queue(), "x");
        equal("x", takeText(mirror));
        equal(List.of("x"), drain(queue()));
    }

    @Test
    void a_consumer_holds_no_more_than_its_prefetch_where_nothing_extends_it() throws Exception {
        for (String kind : List.of("Narrow", "Wide")) {
            Session session = client(connect());
            ActiveMQMessageConsumer consumer = (ActiveMQMessageConsumer) session.createConsumer(
                    option(q(kind), "consumer.prefetchSize=2"));
            sendNumbers(auto(connect()), q(kind), 10);
            equal(kind.equals("Narrow") ? numbers(0, 2) : numbers(0, 10), takeAll(consumer));
            consumer.close();
        }
    }

    /** ActiveMQ forgets to remove it, and says so in its log, unless allowTempAutoCreationOnSend is on. */
    @Test
    void a_bridge_alone_does_not_keep_a_queue_where_the_policy_says_so() throws Exception {
        ActiveMQConnection connection = connect();
        DestinationSource source = connection.getDestinationSource();
        ActiveMQMessageConsumer some = (ActiveMQMessageConsumer) auto(connection).createConsumer(topic());
        SessionId session = some.getConsumerId().getParentId();
        List<ActiveMQQueue> queues = List.of(q("Bridged"), q("Idle"));
        for (ActiveMQQueue queue : queues) {
            ConsumerInfo info = new ConsumerInfo(new ConsumerId(session, 1000 + queues.indexOf(queue)));
            info.setDestination(queue);
            info.setPrefetchSize(10);
            info.setNetworkSubscription(true);
            connection.syncSendPacket(info);
        }
        eventually("the first is gone", () -> !source.getQueues().contains(q("Bridged"))
                && source.getQueues().contains(q("Idle")));
    }
}

import java.util.List;
import java.util.concurrent.TimeUnit;
import javax.jms.DeliveryMode;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;

/** A broker that delivers again, after a delay, what a client has given up. */
final class BrokerRedelivery extends ConfiguredTest {
    @Override
    Broker.Configuration configuration() {
        return Broker.Configuration.PLAIN.stored("").attributes("schedulerSupport=\"true\"").policies("""
                <policyEntry queue="Again.>,Once.>"><deadLetterStrategy>
                  <individualDeadLetterStrategy queuePrefix="Dead."/></deadLetterStrategy></policyEntry>
                <policyEntry topic="Again.>"><deadLetterStrategy>
                  <individualDeadLetterStrategy topicPrefix="Dead." processNonPersistent="true"/>
                  </deadLetterStrategy></policyEntry>
                """).elements("""
                <plugins>
                  <redeliveryPlugin fallbackToDeadLetter="true" sendToDlqIfMaxRetriesExceeded="true">
                    <redeliveryPolicyMap><redeliveryPolicyMap><redeliveryPolicyEntries>
                      <redeliveryPolicy queue="Again.>" maximumRedeliveries="2" initialRedeliveryDelay="1000"
                        redeliveryDelay="1000"/>
                      <redeliveryPolicy queue="Grows.>" maximumRedeliveries="3" initialRedeliveryDelay="1000"
                        redeliveryDelay="1000" useExponentialBackOff="true" backOffMultiplier="2"
                        maximumRedeliveryDelay="2500"/>
                      <redeliveryPolicy topic="Again.>" maximumRedeliveries="1" initialRedeliveryDelay="1000"/>
                    </redeliveryPolicyEntries></redeliveryPolicyMap></redeliveryPolicyMap>
                  </redeliveryPlugin>
                </plugins>
                """);
    }

    private ActiveMQQueue q(String kind) {
        return new ActiveMQQueue(kind + "." + name());
    }

    private ActiveMQConnection impatient() throws Exception {
        return connect("jms.redeliveryPolicy.maximumRedeliveries=0");
    }

    @Test
    void a_message_comes_again_after_the_brokers_delay_until_it_is_dead() throws Exception {
        Session session = transacted(impatient());
        send(session, q("Again"), "x");
        session.commit();
        MessageConsumer consumer = session.createConsumer(q("Again"));
        take(consumer);
        session.rollback();
        for (int round = 1; round <= 2; round++) {
            long start = System.nanoTime();
            Message again = take(consumer);
            long millis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
            check(millis >= 700, "came after " + millis + " ms");
            equal("x", ((TextMessage) again).getText());
            equal(round + 1, deliveryCount(again));
            check(again.getJMSRedelivered(), "not redelivered");
            equal(1000L, again.getLongProperty("redeliveryDelay"));
            session.rollback();
        }
        MessageConsumer dead = auto(connect()).createConsumer(new ActiveMQQueue("Dead." + q("Again").getPhysicalName()));
        equal("x", takeText(dead));
        nothing(consumer);
    }

    @Test
    void the_delay_grows_up_to_its_bound() throws Exception {
        Session session = transacted(impatient());
        send(session, q("Grows"), "x");
        session.commit();
        MessageConsumer consumer = session.createConsumer(q("Grows"));
        take(consumer);
        for (long delay : new long[] {1000, 2000, 2500}) {
            session.rollback();
            equal(delay, take(consumer).getLongProperty("redeliveryDelay"));
        }
        session.commit();
        nothing(consumer);
    }

    @Test
    void others_are_delivered_meanwhile() throws Exception {
        Session session = transacted(impatient());
        send(session, q("Again"), "first");
        session.commit();
        MessageConsumer consumer = session.createConsumer(q("Again"));
        take(consumer);
        session.rollback();
        send(auto(connect()), q("Again"), "second");
        equal("second", takeText(consumer));
        session.commit();
        equal("first", takeText(consumer));
        session.commit();
        equal(List.of(), drain(q("Again")));
    }

    @Test
    void without_an_entry_a_message_is_dead_at_once() throws Exception {
        Session session = transacted(impatient());
        send(session, q("Once"), "x");
        session.commit();
        take(session.createConsumer(q("Once")));
        session.rollback();
        equal("x", takeText(auto(connect()).createConsumer(new ActiveMQQueue("Dead." + q("Once").getPhysicalName()))));
    }

    private ActiveMQConnection impatientAs(String clientId) throws Exception {
        ActiveMQConnection connection = unstarted(url("jms.redeliveryPolicy.maximumRedeliveries=0"));
        connection.setClientID(clientId);
        connection.start();
        return connection;
    }

    /** ActiveMQ takes a persistent message that comes again for a duplicate, and drops it. */
    private void comesAgain(int deliveryMode) throws Exception {
        ActiveMQTopic topic = new ActiveMQTopic("Again." + name());
        Session session = transacted(impatientAs(name() + "-a"));
        MessageConsumer rejecting = session.createDurableSubscriber(topic, "s", "wanted = 1", false);
        MessageConsumer other = auto(impatientAs(name() + "-b")).createDurableSubscriber(topic, "s");
        Session sending = auto(connect());
        MessageProducer producer = sending.createProducer(topic);
        producer.setDeliveryMode(deliveryMode);
        Message message = sending.createTextMessage("x");
        message.setIntProperty("wanted", 1);
        producer.send(message);
        equal("x", takeText(other));
        take(rejecting);
        long start = System.nanoTime();
        session.rollback();
        Message again = take(rejecting);
        long millis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
        check(millis >= 700, "came after " + millis + " ms");
        equal("x", ((TextMessage) again).getText());
        equal(2, deliveryCount(again));
        equal(1000L, again.getLongProperty("redeliveryDelay"));
        if (Broker.isActiveMq()) {
            // It is published again.
            equal("x", takeText(other));
        }
        nothing(other);
        session.rollback();
        MessageConsumer dead = auto(connect()).createConsumer(new ActiveMQQueue("Dead." + topic.getPhysicalName()));
        equal("x", takeText(dead));
        nothing(rejecting);
    }

    @Test
    void what_a_durable_subscriber_rejects_comes_again_to_it_alone() throws Exception {
        comesAgain(DeliveryMode.NON_PERSISTENT);
    }

    @Test
    void what_is_persistent_comes_again_to_a_durable_subscriber_too() throws Exception {
        if (!Broker.isActiveMq()) {
            comesAgain(DeliveryMode.PERSISTENT);
        }
    }

    @Test
    void what_waits_survives_a_crash() throws Exception {
        Session session = transacted(impatient());
        send(session, q("Again"), "x");
        session.commit();
        take(session.createConsumer(q("Again")));
        session.rollback();
        // Behind the rejection.
        send(auto(connect()), q("Other"), "stored");
        settle(session);
        Broker broker = broker();
        broker.kill();
        broker.startAgain();
        MessageConsumer consumer = auto(connect()).createConsumer(q("Again"));
        equal("x", takeText(consumer));
        nothing(consumer);
    }
}

import java.util.concurrent.TimeUnit;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQMessageConsumer;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;

/** Consumers that are ended because they are slow. */
final class SlowConsumers extends ConfiguredTest {
    @Override
    Broker.Configuration configuration() {
        return Broker.Configuration.PLAIN.policies("""
                <policyEntry topic="Slow.T.>"><slowConsumerStrategy>
                  <abortSlowConsumerStrategy maxSlowDuration="500" checkPeriod="200"/>
                </slowConsumerStrategy></policyEntry>
                <policyEntry topic="Count.T.>"><slowConsumerStrategy>
                  <abortSlowConsumerStrategy maxSlowCount="1" maxSlowDuration="-1" checkPeriod="200"/>
                </slowConsumerStrategy></policyEntry>
                <policyEntry topic="Often.T.>"><slowConsumerStrategy>
                  <abortSlowConsumerStrategy maxSlowCount="100" maxSlowDuration="-1" checkPeriod="200"/>
                </slowConsumerStrategy></policyEntry>
                <policyEntry queue="Ack.>"><slowConsumerStrategy>
                  <abortSlowAckConsumerStrategy maxTimeSinceLastAck="500" maxSlowDuration="400" checkPeriod="200"/>
                </slowConsumerStrategy></policyEntry>
                <policyEntry queue="Idle.>"><slowConsumerStrategy>
                  <abortSlowAckConsumerStrategy maxTimeSinceLastAck="500" maxSlowDuration="400" checkPeriod="200"
                    ignoreIdleConsumers="false"/>
                </slowConsumerStrategy></policyEntry>
                <policyEntry queue="Cut.>"><slowConsumerStrategy>
                  <abortSlowAckConsumerStrategy maxTimeSinceLastAck="500" maxSlowDuration="400" checkPeriod="200"
                    abortConnection="true"/>
                </slowConsumerStrategy></policyEntry>
                """);
    }

    private static boolean isClosed(ActiveMQMessageConsumer consumer) {
        try {
            consumer.getMessageListener();
            return false;
        } catch (javax.jms.JMSException closed) {
            return true;
        }
    }

    private ActiveMQMessageConsumer consumer(ActiveMQDestination destination) throws Exception {
        return (ActiveMQMessageConsumer) client(connect()).createConsumer(destination);
    }

    @Test
    void a_topic_consumer_that_falls_behind_is_closed() throws Exception {
        ActiveMQTopic topic = new ActiveMQTopic("Slow.T." + name());
        ActiveMQMessageConsumer slow = consumer(option(topic, "consumer.prefetchSize=2"));
        sendNumbers(auto(connect()), topic, 10);
        eventually("it is closed", () -> isClosed(slow));
    }

    @Test
    void a_queue_consumer_that_does_not_acknowledge_is_closed_and_one_that_does_is_not() throws Exception {
        ActiveMQQueue queue = new ActiveMQQueue("Ack." + name());
        ActiveMQMessageConsumer slow = consumer(option(queue, "consumer.prefetchSize=2"));
        sendNumbers(auto(connect()), queue, 2);
        eventually("it has them", () -> slow.getMessageSize() == 2);
        ActiveMQMessageConsumer idle = consumer(new ActiveMQQueue("Ack.idle." + name()));
        eventually("it is closed", () -> isClosed(slow));
        check(!isClosed(idle), "the idle one is closed");
        equal(numbers(0, 2), drain(queue));
    }

    @Test
    void an_idle_consumer_is_closed_where_the_policy_says_so() throws Exception {
        ActiveMQMessageConsumer idle = consumer(new ActiveMQQueue("Idle." + name()));
        eventually("it is closed", () -> isClosed(idle));
    }

    @Test
    void the_connection_may_be_cut() throws Exception {
        ActiveMQQueue queue = new ActiveMQQueue("Cut." + name());
        ActiveMQConnection connection = connect();
        Session session = client(connection);
        session.createConsumer(queue);
        sendNumbers(auto(connect()), queue, 2);
        eventually("the connection is cut", () -> connection.isTransportFailed());
        TimeUnit.MILLISECONDS.sleep(MOMENT);
        equal(numbers(0, 2), drain(queue));
    }

    @Test
    void a_consumer_may_be_slow_so_often_and_no_more() throws Exception {
        ActiveMQTopic often = new ActiveMQTopic("Often.T." + name());
        ActiveMQMessageConsumer patient = consumer(option(often, "consumer.prefetchSize=2"));
        sendNumbers(auto(connect()), often, 10);
        ActiveMQTopic once = new ActiveMQTopic("Count.T." + name());
        ActiveMQMessageConsumer slow = consumer(option(once, "consumer.prefetchSize=2"));
        sendNumbers(auto(connect()), once, 10);
        eventually("it is closed", () -> isClosed(slow));
        check(!isClosed(patient), "the other is closed too");
    }
}
